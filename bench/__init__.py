"""What unspool costs beside other ways to do the same, measured on this machine.

``make bench`` runs everything; ``python -m bench --help`` says how to run less. Each line of the table has its module here, the
programs that are measured lie in ``ours/`` and ``rivals/``, and ``server.py`` is what all of them talk to.

A shared machine has no honest wall clock, so nothing but the time to the first token is measured with one. What is counted is
instructions executed, or the CPU time (user and system) of a whole process, the least of several runs; and every run has to
prove that it received the whole answer.
"""
