"""A page in the browser: files are dropped, looked at before and after, and saved.

- `server.py`: the process that answers.
- `routes/`: the addresses, and what is answered there.
- `hall.py`: what requests share.
- `guard.py`: who may ask: hosts, origins, the token, what a page may load.
- `limits.py`: how much one page, and all together, may take.
- `pages.py`: an open page: its folder, its files, what it waits for.
- `picture.py`: a file on a page: what it is, in words and in tiles.
- `ways.py`: which tiles may be asked for, and how they may be denoised.
- `room.py`: what the pictures of all pages share.
- `display.py`: stored values as something a screen can show.
- `computing.py`: models, and whose turn it is to compute.
- `fitting.py`: models that are fitted to a picture first.
- `unpacking.py`: OME-Zarr that came as one file; `names.py`: names of strangers made harmless.
- `jobs.py`: files that are to be saved, one after another, as `noise2noise denoise` would.
- `archive.py`: several results as one zip.
- `runs.py`: the training runs of a folder.
- `static/`: the page itself, as the browser gets it; `words/`, its languages.

Nothing of the page is fetched from anywhere but this process, and no file leaves it but to the page
that brought it.
"""
