"""The configured flow: importing the code that it is in, what that code defines, and which parameters fit it."""
