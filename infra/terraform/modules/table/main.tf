locals {
  # Empty until the first flip. A flat "blue" is not a generation: Turntable adopts it and builds green first.
  initial_location = "${var.location}/${var.name}/blue"

  projection = length(var.partitions) == 0 ? {} : merge(
    {
      "projection.enabled"        = "true"
      "storage.location.template" = join("/", concat([local.initial_location], [for p in var.partitions : "${p.name}=$${${p.name}}"]))
    },
    [for p in var.partitions : { for key, value in p.projection : "projection.${p.name}.${key}" => value }]...
  )
}

resource "aws_glue_catalog_database" "this" {
  count = var.create_database ? 1 : 0

  name = var.database
}

resource "aws_glue_catalog_table" "this" {
  database_name = var.create_database ? aws_glue_catalog_database.this[0].name : var.database
  name          = var.name
  description   = var.description
  table_type    = "EXTERNAL_TABLE"

  parameters = merge({ EXTERNAL = "TRUE", classification = "parquet" }, local.projection)

  storage_descriptor {
    location      = local.initial_location
    input_format  = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
    output_format = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"

    ser_de_info {
      serialization_library = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
      parameters            = { "serialization.format" = "1" }
    }

    dynamic "columns" {
      for_each = var.columns

      content {
        name    = columns.value.name
        type    = columns.value.type
        comment = columns.value.comment
      }
    }
  }

  dynamic "partition_keys" {
    for_each = var.partitions

    content {
      name = partition_keys.value.name
      type = partition_keys.value.type
    }
  }

  # Flips change these fields, and Glue is the only source of truth for them. All parameters are ignored, because a flip
  # also changes projection.NAME.* and ignore_changes supports no patterns.
  lifecycle {
    ignore_changes = [
      storage_descriptor[0].location,
      storage_descriptor[0].columns,
      parameters,
    ]
  }
}
