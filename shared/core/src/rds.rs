//! Host names of Amazon RDS and Aurora.

/// Returns the region in a host name such as `NAME.ID.REGION.rds.amazonaws.com`, optionally with China's suffix `.cn`.
/// Returns `None` for any other host name. Instances, clusters and proxies all have names of this form.
pub fn region(host: &str) -> Option<&str> {
    let host = host.strip_suffix(".cn").unwrap_or(host).strip_suffix(".rds.amazonaws.com")?;
    host.rsplit('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_part_of_the_host() {
        assert_eq!(region("shop.cluster-ro-c0.eu-west-1.rds.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(region("shop.proxy-c0.us-east-1.rds.amazonaws.com"), Some("us-east-1"));
        assert_eq!(region("x.c0.cn-north-1.rds.amazonaws.com.cn"), Some("cn-north-1"));
        assert_eq!(region("rds.amazonaws.com.evil.example"), None);
        assert_eq!(region("xrds.amazonaws.com"), None);
    }
}
