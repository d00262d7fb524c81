"""Starting, adopting, watching and stopping the processes that outlive an execution.

Importing this package imports nothing: `verify` picks the few light modules that it needs.
"""
