//! The sample: 100,000 users, as an application would export them to S3 every night. The same day always produces the
//! same bytes.

/// The sample's datasets file.
pub const DATASETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/datasets.toml");

/// The folder that the sample's `datasets.toml` names as the users' source. Its objects have the same names every day.
pub const SOURCE: &str = "source/users";

/// The name of the dataset with the users.
pub const DATASET: &str = "users";

/// The name of the dataset with the opt-outs.
pub const OPTOUTS: &str = "optouts";

/// The opt-outs' inbox.
pub const INBOX: &str = "inbox/optouts";

/// The name of the dataset that a put refreshes.
pub const CAMPAIGNS: &str = "campaigns";

/// The name of the dataset that follows the one with the campaigns.
pub const CAMPAIGN_USERS: &str = "campaign_users";

/// The object that is put.
pub const CAMPAIGNS_OBJECT: &str = "source/campaigns/campaigns.csv";

/// How many users opted out before the first day: one in a hundred.
pub const OPTED_OUT: u64 = USERS / 100;

const USERS: u64 = 100_000;
const OBJECTS: u64 = 4;
/// How many users join every day.
const JOIN_DAILY: u64 = 250;
/// One user in this many leaves every day.
const LEAVE_DAILY: u64 = 800;

const FAMILY: [(&str, &str); 12] = [
    ("佐藤", "サトウ"),
    ("鈴木", "スズキ"),
    ("高橋", "タカハシ"),
    ("田中", "タナカ"),
    ("伊藤", "イトウ"),
    ("渡邊", "ワタナベ"),
    ("山本", "ヤマモト"),
    ("中村", "ナカムラ"),
    ("小林", "コバヤシ"),
    ("加藤", "カトウ"),
    ("吉田", "ヨシダ"),
    ("髙﨑", "タカサキ"),
];
const GIVEN: [(&str, &str); 12] = [
    ("陽菜", "ヒナ"),
    ("蓮", "レン"),
    ("結衣", "ユイ"),
    ("悠真", "ユウマ"),
    ("さくら", "サクラ"),
    ("大翔", "ヒロト"),
    ("美咲", "ミサキ"),
    ("健太", "ケンタ"),
    ("葵", "アオイ"),
    ("翔太", "ショウタ"),
    ("七海", "ナナミ"),
    ("直樹", "ナオキ"),
];
const PREFECTURES: [&str; 8] = ["東京都", "大阪府", "北海道", "神奈川県", "愛知県", "福岡県", "京都府", "沖縄県"];
const HEADER: &str = "id,name,kana,email,birthday,prefecture,points,balance,rate,active,created_at,note,snapshot_day\n";

/// Returns a day's objects as (name, CSV). Day 0 has 100,000 users. Every day, some users join, some leave, and the
/// points of almost all others change.
pub fn objects(day: u32) -> Vec<(String, String)> {
    let mut objects: Vec<String> = (0..OBJECTS).map(|_| HEADER.to_owned()).collect();
    for id in 1..=USERS + JOIN_DAILY * u64::from(day) {
        if !has_left(id, day) {
            write_user(&mut objects[(id % OBJECTS) as usize], id, day);
        }
    }
    (0..).zip(objects).map(|(number, csv)| (format!("users-{number}.csv"), csv)).collect()
}

/// Returns a day's objects as if the application had stopped after writing the first: the others have only their
/// header.
pub fn truncated(day: u32) -> Vec<(String, String)> {
    let mut objects = objects(day);
    objects.iter_mut().skip(1).for_each(|(_, csv)| csv.truncate(HEADER.len()));
    objects
}

/// Returns the campaigns, one for every prefecture but the first.
pub fn campaigns() -> String {
    let rows: Vec<String> = PREFECTURES.iter().skip(1).map(|name| format!("{name},{name}の秋まつり\n")).collect();
    format!("prefecture,campaign\n{}", rows.concat())
}

/// Returns the drop for the users who opted out before the first day.
pub fn opted_out_so_far() -> String {
    let people = (1..=OPTED_OUT).map(|n| format!("{},withdrawn,2026-04-01T00:00:00Z\n", n * 100));
    format!("user_id,state,occurred_at\n{}", people.collect::<String>())
}

/// Returns a drop that opts one person out.
pub fn opts_out(person: u64) -> String {
    format!("user_id,state,occurred_at\n{person},opted_out,2026-04-02T09:00:00+09:00\n")
}

fn has_left(id: u64, day: u32) -> bool {
    let leaves = 1 + draw(id, 0) % LEAVE_DAILY;
    leaves <= u64::from(day)
}

fn write_user(csv: &mut String, id: u64, day: u32) {
    let pick = |salt: u64, of: u64| draw(id, salt) % of;
    let (family, family_kana) = FAMILY[pick(1, 12) as usize];
    let (given, given_kana) = GIVEN[pick(2, 12) as usize];
    let or_null = |salt: u64, null_in: u64, text: String| if pick(salt, null_in) == 0 { String::new() } else { text };

    let email = or_null(3, 12, format!("user{id}@example.jp"));
    let birthday = or_null(4, 30, format!("{}-{:02}-{:02}", 1940 + pick(5, 70), 1 + pick(6, 12), 1 + pick(7, 28)));
    let prefecture = PREFECTURES[pick(8, 8) as usize];
    let points = (pick(9, 20_000) + u64::from(day) * pick(10, 500)) as i64 - 500;
    let balance = or_null(11, 20, format!("{}.{:02}", pick(12, 9_000_000), pick(13, 100)));
    let rate = or_null(14, 25, format!("{}", pick(15, 1_000_000) as f64 / 1e6));
    let active = pick(16, 10) != 0;
    let created_at = format!(
        "{}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}",
        2012 + pick(17, 13),
        1 + pick(18, 12),
        1 + pick(19, 28),
        pick(20, 24),
        pick(21, 60),
        pick(22, 60),
        pick(23, 1_000_000)
    );
    let note = match pick(24, 50) {
        0 => "\"「VIP」, \"\"要連絡\"\"\"",
        1 => "退会予定",
        _ => "",
    };
    *csv += &format!(
        "{id},{family} {given},{family_kana} {given_kana},{email},{birthday},{prefecture},{points},{balance},{rate},\
         {active},{created_at},{note},2026-04-{:02}\n",
        day + 1
    );
}

/// Returns a pseudo-random number for a user and a column (`salt`), using SplitMix64.
fn draw(id: u64, salt: u64) -> u64 {
    let mut z = id.wrapping_mul(64).wrapping_add(salt + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use client::datasets::Datasets;

    use super::*;

    #[test]
    fn sample_is_a_valid_datasets_file() {
        let sample = Datasets::read(Path::new(DATASETS), "bucket").unwrap();
        assert_eq!(sample.config.databases().into_iter().collect::<Vec<_>>(), ["dmp"]);
        assert_eq!(sample.config.dataset(DATASET).unwrap().table.to_string(), "dmp.users");
    }

    #[test]
    fn a_put_refreshes_the_campaigns_and_another_dataset_follows() {
        let sample = Datasets::read(Path::new(DATASETS), "bucket").unwrap();
        let object = format!("s3://bucket/{CAMPAIGNS_OBJECT}").parse().unwrap();
        let read = sample.config.refreshed_on_put().filter(|(_, files)| files.reads(&object));
        assert_eq!(read.map(|(dataset, _)| dataset.name.as_str()).collect::<Vec<_>>(), [CAMPAIGNS]);
        let follows = sample.config.dependants(CAMPAIGNS).map(|dataset| dataset.name.as_str());
        assert_eq!(follows.collect::<Vec<_>>(), [CAMPAIGN_USERS]);
        assert_eq!(campaigns().lines().count(), 8);
    }

    fn rows(day: u32) -> usize {
        objects(day).iter().map(|(_, csv)| csv.lines().count() - 1).sum()
    }

    #[test]
    fn day_is_reproducible_and_days_differ() {
        assert_eq!(rows(0), 100_000);
        assert_eq!(objects(1), objects(1));
        assert_ne!(rows(1), rows(0));
        assert_ne!(objects(1)[0], objects(2)[0]);
    }

    #[test]
    fn every_row_ends_with_its_own_day() {
        assert!(objects(2).iter().all(|(_, csv)| csv.lines().skip(1).all(|row| row.ends_with(",2026-04-03"))));
    }
}
