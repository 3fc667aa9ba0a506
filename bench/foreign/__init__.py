"""Programs that run on other people's clients, each in an environment of its own. Their clients are unmodified but for one thing that is
said in each: that they speak plaintext on loopback, as all subjects do.
"""
