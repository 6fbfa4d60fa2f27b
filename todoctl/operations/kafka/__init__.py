"""What is done with Kafka: reading topics, appending to them, making them agree with the chart, lag, moving groups."""
