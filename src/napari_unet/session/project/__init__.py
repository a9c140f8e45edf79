"""The project on disk: record, annotations, saving, undo, finding it again."""
