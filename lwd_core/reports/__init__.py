"""What a person looks at: figures and pages made from the lake's tables and a run's metrics."""
