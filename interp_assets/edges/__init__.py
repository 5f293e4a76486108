"""Edge scores between genes and the reference networks they are held against."""
