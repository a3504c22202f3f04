"""A flow with a step of every kind, for tests."""

EVERY_KIND = """
[languages.zh]
requires = { zh = 1 }
[languages.en]
[hours.night]
open = ["00:00-00:01"]
[steps.hello]
play = ["welcome"]
next = "language"
[steps.language]
menu = ["welcome"]
keys = { 1 = "english", 2 = "who", 3 = "night", 4 = "account", 5 = "mail", 6 = "outside" }
words = { billing = "1" }
retries = 1
otherwise = "billing"
[steps.english]
language = "en"
next = "billing"
[steps.night]
hours = "night"
open = "billing"
closed = "bye"
[steps.who]
lookup = "customer"
send = ["account"]
timeout = 3
answers = { gold = "billing", bad = "bye" }
otherwise = "general"
[steps.account]
collect = ["welcome"]
as = "account"
secret = true
min = 2
max = 4
next = "who"
otherwise = "billing"
[steps.billing]
queue = "billing"
announce = { first = 5, every = 10, position = true, wait = true, comfort = ["hold"], late = ["sorry"] }
callback = { key = "1", offer = ["busy"], accepted = ["sorry"], retries = 1, every = 20, within = 200 }
after = "score"
otherwise = "mail"
[steps.general]
queue = "general"
callback = { key = "1", every = 5, within = 60, number = "account" }
otherwise = "mail"
[steps.score]
rate = ["welcome"]
as = "csat"
next = "bye"
[steps.mail]
voicemail = ["lost"]
seconds = 20
to_queue = "mails"
next = "bye"
[steps.outside]
number = "139"
otherwise = "mail"
[steps.bye]
hang_up = ["sorry"]
"""
