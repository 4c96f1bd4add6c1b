"""
Tests of the sessions: their messages, engine, queues, requests, and shell.
"""
