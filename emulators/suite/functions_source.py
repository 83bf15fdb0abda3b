"""What functions/main.py deploys, read from its text: importing it costs seconds and needs the right environment."""

import ast
from pathlib import Path


def deployed_functions(main: Path) -> set[str]:
    """Names of main.py's decorated functions: by the rule of that file, each one is a trigger and nothing else is."""
    tree = ast.parse(main.read_text(), filename=str(main))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions if function.decorator_list and not function.name.startswith("_")}
