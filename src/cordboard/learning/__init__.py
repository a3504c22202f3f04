"""Learning who will answer: schemas, models, training, the registry. ``cordboard.AnswerModel`` is the door."""
