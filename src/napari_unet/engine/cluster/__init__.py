"""Steps that are done by the workers of a Dask cluster; `distributed` is needed."""
