"""What every plugin keeps, as plain functions: the contract tests run them over all that is registered, ``check`` over a file."""
