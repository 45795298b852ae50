# template.yaml's outputs.

output "bucket" {
  description = "Name of the bucket for the tables' files and datasets.toml."
  value       = var.bucket_name
}

output "datasets_uri" {
  description = "S3 URI from which the functions read the datasets file."
  value       = "s3://${var.bucket_name}/${var.datasets_key}"
}

output "export_function_name" {
  description = "Name of the function `export`."
  value       = aws_lambda_function.this["export"].function_name
}

output "export_function_arn" {
  description = "ARN of the function `export`."
  value       = aws_lambda_function.this["export"].arn
}

output "flip_function_name" {
  description = "Name of the function `flip`."
  value       = aws_lambda_function.this["flip"].function_name
}

output "flip_function_arn" {
  description = "ARN of the function `flip`."
  value       = aws_lambda_function.this["flip"].arn
}

output "sweep_function_name" {
  description = "Name of the function `sweep`."
  value       = aws_lambda_function.this["sweep"].function_name
}

output "sweep_function_arn" {
  description = "ARN of the function `sweep`."
  value       = aws_lambda_function.this["sweep"].arn
}

output "sweep_dead_letters_url" {
  description = "URL of the dead-letter queue of the function `sweep`."
  value       = aws_sqs_queue.dead_letters["sweep"].url
}

output "export_queue_url" {
  description = "URL of the queue of datasets to export."
  value       = aws_sqs_queue.work["export"].url
}

output "put_queue_url" {
  description = "URL of the queue of events for objects that were put into sources."
  value       = aws_sqs_queue.work["put"].url
}

output "export_dead_letters_url" {
  description = "URL of the dead-letter queue of the function `export`."
  value       = aws_sqs_queue.dead_letters["export"].url
}

output "flip_dead_letters_url" {
  description = "URL of the dead-letter queue of the function `flip`."
  value       = aws_sqs_queue.dead_letters["flip"].url
}

output "optout_function_name" {
  description = "Name of the function `optout`."
  value       = aws_lambda_function.this["optout"].function_name
}

output "optout_function_arn" {
  description = "ARN of the function `optout`."
  value       = aws_lambda_function.this["optout"].arn
}

output "optout_queue_url" {
  description = "URL of the queue of events for new drops."
  value       = aws_sqs_queue.work["optout"].url
}

output "optout_dead_letters_url" {
  description = "URL of the dead-letter queue of the function `optout`."
  value       = aws_sqs_queue.dead_letters["optout"].url
}

output "flip_operator_arn" {
  description = "ARN of the alias of the function `flip` for operators' requests. Allow operators lambda:InvokeFunction on it."
  value       = aws_lambda_alias.operator["flip"].arn
}

output "optout_operator_arn" {
  description = "ARN of the alias of the function `optout` for operators' requests. Allow operators lambda:InvokeFunction on it."
  value       = aws_lambda_alias.operator["optout"].arn
}
