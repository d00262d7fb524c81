"""The command line: options, the error boundary, and one module for each command."""
