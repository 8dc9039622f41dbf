"""A Kafka broker in one process, for the first run, laptops and tests.

It speaks the real wire protocol, so the same clients and the same code paths work against it and
against Apache Kafka; one contract suite holds both to the same behaviour. Its logic does no I/O
and takes its time from a clock it is given: only `server` knows sockets. Beyond one machine,
Apache Kafka is the answer.
"""
