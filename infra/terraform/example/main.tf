variable "region" {
  description = "Region of the lake."
  type        = string
  default     = "ap-northeast-1"
}

provider "aws" {
  region = var.region
}

module "users" {
  source = "../modules/table"

  database        = "dmp"
  create_database = true
  name            = "users"
  description     = "All users who have an account."
  location        = "s3://lake/schemas"

  columns = [
    { name = "id", type = "bigint" },
    { name = "name", type = "string", comment = "The name as the user entered it." },
    { name = "created_at", type = "timestamp" },
  ]
}

module "orders" {
  source = "../modules/table"

  database = module.users.database
  name     = "orders"
  location = "s3://lake/schemas"

  columns = [
    { name = "id", type = "bigint" },
    { name = "total", type = "decimal(12,2)" },
  ]

  partitions = [
    {
      name       = "day"
      type       = "string"
      projection = { type = "date", range = "2024-01-01,NOW", format = "yyyy-MM-dd" }
    },
  ]
}
