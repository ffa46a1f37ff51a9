"""Write, read, validate and score files of ``imgId_eId,val``: 384 rows an image, dimension fastest."""
