"""Captions for audio that nobody has labelled: written, checked, scored and deduplicated.

A **source** reads published files or plain recordings and writes captions, by `rules` or with a
language model (`llm`); `run` runs it, chunk by chunk, into a **caption set** (`store`): a folder of
parquet shards whose every line says where it came from. `filter` scores pairs with CLAP, `dedup`
drops what is there twice, `report` shows it, `export` hands it to the data room. An **executor**
says where the work is done: in this process, or on a cluster.

Packages of the extra `captions` are imported where they are used, so that the module can be
imported without them.
"""
