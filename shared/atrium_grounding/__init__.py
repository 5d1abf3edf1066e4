"""What Chinese and English text says, and whether a source supports it.

Words (:mod:`tokens`), words that mean the same in either language (:mod:`lexicon`), sentences,
names, numbers and dates in one normal form (:mod:`quantities`), and a check of generated sentences
against sources by rules alone (:mod:`verification`). The dictionary is read when first needed.
"""
