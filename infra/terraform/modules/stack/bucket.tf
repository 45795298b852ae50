resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:Access logs need a second bucket with its own retention. Enabling CloudTrail data events is up to the account.
  #checkov:skip=CKV_AWS_21:version_days enables it. By default it is off, because old versions would keep the rows of people who opted out.
  #checkov:skip=CKV_AWS_144:A copy in another region is up to the account.
  #checkov:skip=CKV_AWS_145:Encrypted with kms_key_arn or with S3's own key.
  #checkov:skip=CKV2_AWS_61:aws_s3_bucket_lifecycle_configuration.this has the rules.
  #checkov:skip=CKV2_AWS_62:aws_s3_bucket_notification.this sends all events to EventBridge.
  #checkov:skip=CKV2_AWS_6:aws_s3_bucket_public_access_block.this blocks public access.
  count = var.create_bucket ? 1 : 0

  bucket = var.bucket_name

  # Readers need the bucket after the stack is gone: see docs/terraform.md.
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_notification" "this" {
  count = var.create_bucket ? 1 : 0

  bucket      = aws_s3_bucket.this[0].id
  eventbridge = true
}

resource "aws_s3_bucket_public_access_block" "this" {
  count = var.create_bucket ? 1 : 0

  bucket                  = aws_s3_bucket.this[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  rule {
    bucket_key_enabled = local.has_key ? true : null

    apply_server_side_encryption_by_default {
      sse_algorithm     = local.has_key ? "aws:kms" : "AES256"
      kms_master_key_id = local.key
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  count = var.create_bucket && local.has_versions ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

# No table data expires here: only sweep may delete it.
resource "aws_s3_bucket_lifecycle_configuration" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].id

  rule {
    id     = "expire-answers-to-checks" # Booleans and counts, each read once.
    status = "Enabled"

    filter {
      prefix = "_athena/"
    }

    expiration {
      days = 1
    }
  }

  rule {
    id     = "expire-archived-drops" # Personal data that the opt-out table already holds.
    status = "Enabled"

    filter {
      prefix = "_archive/"
    }

    expiration {
      days = var.archive_days
    }
  }

  rule {
    id     = "abort-unfinished-uploads"
    status = "Enabled"

    filter {
      prefix = ""
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  dynamic "rule" {
    for_each = local.has_versions ? [0] : []

    content {
      id     = "expire-old-versions"
      status = "Enabled"

      filter {
        prefix = ""
      }

      noncurrent_version_expiration {
        noncurrent_days = var.version_days
      }

      expiration {
        expired_object_delete_marker = true
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}
