"""What functions/main.py deploys, read from its text: importing it costs seconds and needs the right environment."""

import ast
from pathlib import Path


def deployed_functions(main: Path) -> set[str]:
    """Names of the module-level functions that carry a decorator of a `firebase_functions` trigger module."""
    tree = ast.parse(main.read_text(), filename=str(main))
    modules = _trigger_modules(tree)
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(_root_name(decorator) in modules for decorator in node.decorator_list)
    }


def _trigger_modules(tree: ast.Module) -> set[str]:
    """Local names of imported trigger modules (`https_fn`, `db_fn as rtdb`) and of decorators taken from them."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("firebase_functions"):
            from_trigger_module = (node.module or "").endswith("_fn")
            names |= {
                alias.asname or alias.name
                for alias in node.names
                if alias.name.endswith("_fn") or (from_trigger_module and alias.name.startswith("on_"))
            }
    return names


def _root_name(decorator: ast.expr) -> str:
    node: ast.expr = decorator
    while isinstance(node, ast.Call | ast.Attribute):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
