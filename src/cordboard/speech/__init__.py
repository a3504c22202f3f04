"""What callers say, as text: the interface of speech recognizers, adapters for some, and processes that run them.

docs/reference/speech.md describes it. No model is shipped; pocketsphinx brings one for English in its own wheel.
"""

from cordboard.speech.recognizer import Asked, Recognizer, Result, Session, Setting, recognizer

__all__ = ["Asked", "Recognizer", "Result", "Session", "Setting", "recognizer"]
