variable "database" {
  description = "Glue database of the table."
  type        = string
}

variable "create_database" {
  description = "Create the database too. Leave it to one table of each database."
  type        = bool
  default     = false
}

variable "name" {
  description = "Table, as the dataset is named in datasets.toml."
  type        = string
}

variable "description" {
  description = "What the table holds."
  type        = string
  default     = null
}

variable "location" {
  description = "The dataset's `location` in datasets.toml: s3://BUCKET/PREFIX, without the table's name."
  type        = string

  validation {
    condition     = can(regex("^s3://[^/]+(/[^/]+)*$", var.location))
    error_message = "The location must look like s3://BUCKET/PREFIX, without a slash at its end."
  }
}

variable "columns" {
  description = "Columns at the table's creation. Later changes come with the files that have them: with a flip."
  type = list(object({
    name    = string
    type    = string
    comment = optional(string)
  }))
}

variable "partitions" {
  description = <<-EOT
    Partition keys, each with its projection: { type = "date", range = "2024-01-01,NOW", format = "yyyy-MM-dd" }.
    Turntable flips projected partitions only; registered ones would stay behind.
  EOT
  type = list(object({
    name       = string
    type       = string
    projection = map(string)
  }))
  default = []
}
