"""What one viewer works on: project, annotations, worker, jobs. No Qt, no torch."""
