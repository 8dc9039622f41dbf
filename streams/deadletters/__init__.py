"""Dead letters: read, chosen, mended and sent back to the stage that refused them.

`batuta deadletters` is its screen; here is what happens to the letters.
"""
