"""Everything a user writes in a file, as frozen specs: networks, studies, recipes; and what all of them stand on."""
