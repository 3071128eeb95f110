"""Small programs to read and to run: `python -m tds_runtime.examples.hello_tree`, with `trio` behind it if you like."""
