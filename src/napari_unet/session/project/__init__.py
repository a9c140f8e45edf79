"""The project on disk: record, annotations, saving, steps back, finding it again."""
