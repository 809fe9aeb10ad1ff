"""The actions process: carries catalog actions out for workers."""
