"""Is a sentence that a model wrote about a meeting carried by the words that it cites?

Rules alone decide: what a model wrote is never judged by a model. :mod:`people` tells who says and
who does something, :mod:`polarity` what is denied or its opposite, :mod:`moments` which days and
times are meant, :mod:`checking` puts them together.
"""
