output "database" {
  description = "Glue database of the table."
  value       = aws_glue_catalog_table.this.database_name
}

output "name" {
  description = "Name of the table."
  value       = aws_glue_catalog_table.this.name
}

output "arn" {
  description = "ARN of the table."
  value       = aws_glue_catalog_table.this.arn
}
