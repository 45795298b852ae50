# A lake with two datasets: the functions, their bucket, the Glue database, and the datasets file.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "region" {
  description = "Region of the lake."
  type        = string
  default     = "eu-west-1"
}

variable "bucket" {
  description = "Name of the lake's bucket. Bucket names are globally unique."
  type        = string
}

variable "deployer" {
  description = "ARN of the IAM role that runs Terraform. It may write datasets.toml, and nobody else."
  type        = string
}

variable "release" {
  description = "Folder with the zips of a release."
  type        = string
  default     = "dist"
}

variable "architecture" {
  description = "Architecture of the functions: arm64 or x86_64. A release has the zips of both."
  type        = string
  default     = "arm64"
}

provider "aws" {
  region = var.region
}

module "turntable" {
  source = "../../infra/terraform/modules/stack"

  release        = var.release
  architecture   = var.architecture
  bucket_name    = var.bucket
  deployer_arns  = [var.deployer]
  glue_databases = [aws_glue_catalog_database.shop.name]
}

# Deleting a database deletes its tables.
resource "aws_glue_catalog_database" "shop" {
  name = "shop"

  lifecycle {
    prevent_destroy = true
  }
}

# Each apply uploads the file if it has changed. The functions read it at each invocation.
resource "aws_s3_object" "datasets" {
  bucket       = module.turntable.bucket
  key          = "datasets.toml"
  content      = templatefile("${path.module}/datasets.toml", { BUCKET = var.bucket })
  content_type = "application/toml"

  depends_on = [module.turntable]
}

output "functions" {
  description = "Names of the functions to invoke."
  value = {
    export = module.turntable.export_function_name
    flip   = module.turntable.flip_function_name
    sweep  = module.turntable.sweep_function_name
  }
}
