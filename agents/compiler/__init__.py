"""The compiler: from a pipeline file and the parts it names to the plan that stages run by.

It places each feature at the stage whose key its state needs, or refuses and says why. It imports
nothing by itself: whoever calls it has resolved the parts.
"""
