"""The check of a Keras file: its model in Keras, what it is fed, and what its port answers.

Read ``check`` first: it asks what ``file_questions`` holds, through ``ask``, of ``ported_side`` and
``keras_witness``.
"""
