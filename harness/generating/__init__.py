"""Images for prompts, by a text-to-image pipeline of ``diffusers``: sharded, resumable, one seed a row."""
