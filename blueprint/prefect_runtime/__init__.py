"""Code that runs inside Prefect's own processes, and the constants by which the platform addresses it."""

ANY_ORIGIN = "*"  # among the allowed origins: every page may ask the server, as Prefect has it
SQLITE_AS_IT_IS = "--sqlite-as-it-is"  # the server's first argument: its locking is not to be mended
COLD = "--cold"  # the worker's first argument: flow runs are to start as Prefect starts them
# By this variable of its process the system shows whose run it is. A forked process keeps the block of variables that
# the worker was started with: the worker is given the variable with this value, and a run writes its own over it.
RUN_VARIABLE, NO_RUN = "PREFECT__FLOW_RUN_ID", "0" * 36
