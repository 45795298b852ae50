# What nobody may do in the bucket, whatever their own policies allow.

locals {
  writers = { "aws:PrincipalArn" = values(aws_iam_role.function)[*].arn }
  answers = { "aws:PrincipalArn" = concat(values(aws_iam_role.function)[*].arn, [aws_iam_role.checks.arn]) }
  people  = { "aws:PrincipalArn" = var.deployer_arns }
  inbox   = "${local.bucket}/${var.inbox_prefix}*"

  # Records decide what is published, executed and deleted.
  records = [
    "${local.bucket}/*/_manifests/*",
    "${local.bucket}/*/_flips/*",
    "${local.bucket}/*/_hold.json",
    "${local.bucket}/*/_table.json",
    "${local.bucket}/*/_verdicts/*",
    "${local.bucket}/*/_export_failed.json",
    "${local.bucket}/*/_returns/*",
    "${local.bucket}/*/_returning.json",
    "${local.bucket}/*/_sweeping/*",
    "${local.bucket}/*/_pending/*",
    "${local.bucket}/*/_refresh.json",
    "${local.bucket}/*/_published.json",
    "${local.bucket}/_groups/*",
    "${local.bucket}/*/_groups/*",
    "${local.bucket}/_retired/*",
    "${local.bucket}/_stacks/*",
    "${local.bucket}/_archive/*",
  ]

  denials = [
    {
      sid       = "TlsOnly"
      actions   = ["s3:*"]
      resources = [local.bucket, "${local.bucket}/*"]
      condition = { Bool = { "aws:SecureTransport" = "false" } }
    },
    {
      # Denies overwriting a generation. See "Enforce conditional writes" in the S3 guide, which exempts the parts of an
      # upload by ObjectCreationOperation. A ULID has 26 characters.
      # The pattern excludes the longer file names of Athena and Spark, whose writers send no condition.
      sid     = "WriteOnce"
      actions = ["s3:PutObject"]
      resources = [
        "${local.bucket}/*/blue-??????????????????????????/*part-?????.parquet",
        "${local.bucket}/*/green-??????????????????????????/*part-?????.parquet",
        "${local.bucket}/*/_manifests/*.json",
      ]
      condition = {
        Null = { "s3:if-none-match" = "true" }
        Bool = { "s3:ObjectCreationOperation" = "true" }
      }
    },
    # A caller without an ARN, such as an AWS service or an anonymous one, is denied too.
    {
      sid       = "Records"
      actions   = ["s3:PutObject"]
      resources = concat(local.records, ["${local.bucket}/*/_rejected/*"])
      condition = { ArnNotEquals = local.writers }
    },
    {
      # Deployers may delete records, because some repairs by hand need it (docs/operate.md). Anybody who may delete objects
      # may delete reports of rejected records, once they are handled.
      sid       = "KeepRecords"
      actions   = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
      resources = local.records
      condition = { ArnNotEquals = local.writers, ArnNotLike = local.people }
    },
    {
      # The answers to checks. A deployer's first query puts its result there too.
      sid       = "Answers"
      actions   = ["s3:PutObject"]
      resources = ["${local.bucket}/_athena/*"]
      condition = { ArnNotEquals = local.answers, ArnNotLike = local.people }
    },
    {
      # datasets.toml, and the certificates of the authorities that a database's identity is checked with.
      sid       = "Configuration"
      actions   = ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"]
      resources = ["${local.bucket}/${var.datasets_key}", "${local.bucket}/tls/*"]
      condition = { ArnNotLike = local.people }
    },
    # A drop that S3 lists but that `optout` can't read: under a customer's key, another KMS key, or archived. A request
    # without these headers gets the bucket's encryption and STANDARD.
    {
      sid       = "InboxCustomerKeys"
      actions   = ["s3:PutObject"]
      resources = [local.inbox]
      condition = { Null = { "s3:x-amz-server-side-encryption-customer-algorithm" = "false" } }
    },
    {
      sid       = "InboxEncryption"
      actions   = ["s3:PutObject"]
      resources = [local.inbox]
      condition = {
        Null            = { "s3:x-amz-server-side-encryption" = "false" }
        StringNotEquals = { "s3:x-amz-server-side-encryption" = local.has_key ? "aws:kms" : "AES256" }
      }
    },
    {
      when      = local.has_key
      sid       = "InboxKey"
      actions   = ["s3:PutObject"]
      resources = [local.inbox]
      condition = {
        Null            = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = "false" }
        StringNotEquals = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = var.kms_key_arn }
      }
    },
    {
      sid       = "InboxStorageClass"
      actions   = ["s3:PutObject"]
      resources = [local.inbox]
      condition = {
        Null            = { "s3:x-amz-storage-class" = "false" }
        StringNotEquals = { "s3:x-amz-storage-class" = "STANDARD" }
      }
    },
  ]
}

resource "aws_s3_bucket_policy" "this" {
  count = var.create_bucket ? 1 : 0

  bucket     = aws_s3_bucket.this[0].id
  depends_on = [aws_s3_bucket_public_access_block.this] # S3 refuses two changes of a bucket at the same time.

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for denial in local.denials : {
        Sid       = denial.sid
        Effect    = "Deny"
        Principal = "*"
        Action    = denial.actions
        Resource  = denial.resources
        Condition = denial.condition
      } if try(denial.when, true)
    ]
  })
}
