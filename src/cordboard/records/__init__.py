"""Records: what people ask about afterwards, as a projection of the journal.

Contacts, the legs of each (every queue it waited in, every agent who had it), offers, states of agents and outcomes,
with times and the revisions (numbers of journal rows) that they came from. They can be dropped and rebuilt from the
journal at any time, and come out equal to the byte. Needs the extra ``serve``.
"""

from cordboard.records.database import Records, database_url
from cordboard.records.follow import Follower
from cordboard.records.projection import Projection, Step
from cordboard.records.source import steps_of_data, steps_of_journal

__all__ = ["Follower", "Projection", "Records", "Step", "database_url", "steps_of_data", "steps_of_journal"]
