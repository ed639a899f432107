"""The ports on real parts, one room per outside library; `sim` holds the fake of each."""
