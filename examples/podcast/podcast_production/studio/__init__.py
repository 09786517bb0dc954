"""The podcast studio: three stages that compute an episode, wired as a LangGraph graph.

Owns what an episode is made of, what a stage costs and how good it is. Knows no orchestrator:
whoever starts the program gets NDJSON on stdout and files in a folder, nothing more.
"""
