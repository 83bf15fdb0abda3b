"""The live text of running answers, and how another request stops one."""
