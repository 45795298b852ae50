variable "database" {
  description = "Glue database of the table."
  type        = string
}

variable "create_database" {
  description = "Create the database too. Set this for at most one table of each database."
  type        = bool
  default     = false
}

variable "name" {
  description = "Name of the table: the name of its dataset in datasets.toml."
  type        = string
}

variable "description" {
  description = "Description of the table's contents."
  type        = string
  default     = null
}

variable "location" {
  description = "The dataset's `location` in datasets.toml: s3://BUCKET/PREFIX, without the table's name."
  type        = string

  validation {
    condition     = can(regex("^s3://[^/]+(/[^/]+)*$", var.location))
    error_message = "The location must have the form s3://BUCKET/PREFIX, without a trailing slash."
  }
}

variable "columns" {
  description = "Columns of the new table. Later, flips change the columns to match the files."
  type = list(object({
    name    = string
    type    = string
    comment = optional(string)
  }))
}

variable "partitions" {
  description = <<-EOT
    Partition keys, each with its projection: { type = "date", range = "2024-01-01,NOW", format = "yyyy-MM-dd" }.
    Turntable supports projected partitions only: a flip does not move registered partitions.
  EOT
  type = list(object({
    name       = string
    type       = string
    projection = map(string)
  }))
  default = []
}
