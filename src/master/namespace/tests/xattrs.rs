//! Extended attributes and ACLs.

use super::{ROOT, Scene, alice, bob, name, refusal};
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::types::{Access, Credentials, Ino, SetAttr, XattrMode};

const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";

/// An ACL as the kernel writes it: owner, one named user, group, mask, others.
fn acl(owner: u16, user: (u32, u16), group: u16, mask: u16, other: u16) -> Vec<u8> {
    let none = u32::MAX;
    let entries = [
        (1_u16, owner, none),
        (2, user.1, user.0),
        (4, group, none),
        (16, mask, none),
        (32, other, none),
    ];
    encode(&entries)
}

fn encode(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

fn set(scene: &mut Scene, who: &Credentials, ino: Ino, key: &[u8], value: &[u8]) -> Result<()> {
    scene.run(|ns| ns.setxattr(who, ino, key, value, XattrMode::Any))
}

fn get(scene: &Scene, who: &Credentials, ino: Ino, key: &[u8]) -> Result<Vec<u8>> {
    scene.look(|view| view.getxattr(who, ino, key)).map(Vec::from)
}

#[test]
fn user_attributes_follow_the_permission_bits() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o640);
    set(&mut scene, &alice(), file, b"user.a", b"1").unwrap();
    assert_eq!(scene.attr(file).ctime, scene.now());
    assert_eq!(get(&scene, &alice(), file, b"user.a").unwrap(), b"1");
    assert_eq!(refusal(get(&scene, &bob(), file, b"user.a")), ErrorKind::AccessDenied);
    assert_eq!(refusal(set(&mut scene, &bob(), file, b"user.a", b"2")), ErrorKind::AccessDenied);
    assert_eq!(scene.look(|v| v.listxattr(&bob(), file)).unwrap(), ["user.a"]);
    let link = scene.run(|ns| ns.symlink(&alice(), Ino::ROOT, &name("s"), "x".into())).unwrap().ino;
    assert_eq!(refusal(set(&mut scene, &ROOT, link, b"user.a", b"")), ErrorKind::NotPermitted);
    assert_eq!(refusal(get(&scene, &ROOT, link, b"user.a")), ErrorKind::NoAttribute);
    set(&mut scene, &ROOT, link, b"trusted.a", b"").unwrap();
    scene.chmod(Ino::ROOT, 0o1777);
    let answer = set(&mut scene, &bob(), Ino::ROOT, b"user.a", b"");
    assert_eq!(refusal(answer), ErrorKind::NotPermitted, "nobody marks a common directory");
}

#[test]
fn each_kind_of_attribute_has_its_rules() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o666);
    for key in [&b"trusted.a"[..], b"security.a"] {
        assert_eq!(refusal(set(&mut scene, &alice(), file, key, b"")), ErrorKind::NotPermitted);
        set(&mut scene, &ROOT, file, key, b"v").unwrap();
    }
    assert_eq!(refusal(get(&scene, &alice(), file, b"trusted.a")), ErrorKind::NoAttribute);
    assert_eq!(get(&scene, &alice(), file, b"security.a").unwrap(), b"v");
    assert_eq!(scene.look(|v| v.listxattr(&alice(), file)).unwrap(), ["security.a"]);
    assert_eq!(scene.look(|v| v.listxattr(&ROOT, file)).unwrap(), ["security.a", "trusted.a"]);
    for (key, error) in [
        (&b"system.other"[..], ErrorKind::Unsupported),
        (b"other", ErrorKind::Unsupported),
        (b"user.", ErrorKind::InvalidArgument),
        (b"", ErrorKind::BufferTooSmall),
        (&[b'x'; 256], ErrorKind::BufferTooSmall),
    ] {
        assert_eq!(refusal(set(&mut scene, &ROOT, file, key, b"")), error);
        assert_eq!(refusal(get(&scene, &ROOT, file, key)), error);
    }
}

#[test]
fn create_and_replace_mean_what_they_say() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let mut put = |mode| scene.run(|ns| ns.setxattr(&alice(), file, b"user.a", b"v", mode));
    assert_eq!(refusal(put(XattrMode::Replace)), ErrorKind::NoAttribute);
    put(XattrMode::Create).unwrap();
    assert_eq!(refusal(put(XattrMode::Create)), ErrorKind::Exists);
    put(XattrMode::Replace).unwrap();
    scene.run(|ns| ns.removexattr(&alice(), file, b"user.a")).unwrap();
    let answer = scene.run(|ns| ns.removexattr(&alice(), file, b"user.a"));
    assert_eq!(refusal(answer), ErrorKind::NoAttribute);
}

#[test]
fn an_inode_has_room_for_so_many_attributes() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let value = vec![0; limits::XATTR_VALUE_SIZE_MAX];
    let answer = set(&mut scene, &alice(), file, b"user.x", &[&value[..], &[0]].concat());
    assert_eq!(refusal(answer), ErrorKind::TooBig);
    let mut count = 0;
    let error = loop {
        match set(&mut scene, &alice(), file, format!("user.{count}").as_bytes(), &value) {
            Ok(()) => count += 1,
            Err(error) => break error.kind(),
        }
    };
    assert_eq!((count, error), (15, ErrorKind::NoSpace));
    set(&mut scene, &alice(), file, b"user.0", &value).unwrap();
    set(&mut scene, &alice(), file, b"user.0", b"").unwrap();
    set(&mut scene, &alice(), file, b"user.more", &value[..60_000]).unwrap();
}

#[test]
fn an_access_acl_decides_and_shows_in_the_mode() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o600);
    let value = acl(6, (bob().uid, 6), 0, 4, 0);
    assert_eq!(refusal(set(&mut scene, &bob(), file, ACCESS, &value)), ErrorKind::NotPermitted);
    set(&mut scene, &alice(), file, ACCESS, &value).unwrap();
    assert_eq!(get(&scene, &bob(), file, ACCESS).unwrap(), value);
    assert_eq!(scene.attr(file).mode, 0o640, "the mask is shown as the group");
    let may = |scene: &Scene, wanted| scene.look(|v| v.access(&bob(), file, wanted)).is_ok();
    assert!(may(&scene, Access::READ) && !may(&scene, Access::WRITE));
    scene.chmod(file, 0o660);
    assert!(may(&scene, Access::WRITE), "chmod sets the mask");
    assert_eq!(get(&scene, &bob(), file, ACCESS).unwrap(), acl(6, (bob().uid, 6), 0, 6, 0));
    let minimal = encode(&[(1, 7, u32::MAX), (4, 5, u32::MAX), (32, 1, u32::MAX)]);
    set(&mut scene, &alice(), file, ACCESS, &minimal).unwrap();
    assert_eq!(scene.attr(file).mode, 0o751);
    assert_eq!(refusal(get(&scene, &alice(), file, ACCESS)), ErrorKind::NoAttribute);
    scene.run(|ns| ns.removexattr(&alice(), file, ACCESS)).unwrap();
}

#[test]
fn a_default_acl_goes_into_what_is_made() {
    let mut scene = Scene::new();
    let d = scene.directory(&alice(), Ino::ROOT, "d", 0o755);
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let value = acl(7, (bob().uid, 7), 5, 7, 0);
    assert_eq!(refusal(set(&mut scene, &ROOT, file, DEFAULT, &value)), ErrorKind::AccessDenied);
    set(&mut scene, &alice(), d, DEFAULT, &value).unwrap();
    assert_eq!(scene.attr(d).mode, 0o755);
    let masked = Credentials { umask: 0o077, ..alice() };
    let file = scene.file(&masked, d, "f", 0o664);
    assert_eq!(scene.attr(file).mode, 0o660, "the umask does not count beside a default ACL");
    assert_eq!(get(&scene, &bob(), file, ACCESS).unwrap(), acl(6, (bob().uid, 7), 5, 6, 0));
    let sub = scene.directory(&masked, d, "sub", 0o755);
    assert_eq!(get(&scene, &bob(), sub, DEFAULT).unwrap(), value);
    assert_eq!(get(&scene, &bob(), sub, ACCESS).unwrap(), acl(7, (bob().uid, 7), 5, 5, 0));
    let link = scene.run(|ns| ns.symlink(&masked, d, &name("s"), "x".into())).unwrap();
    assert_eq!(link.mode, 0o777);
    scene.run(|ns| ns.removexattr(&alice(), d, DEFAULT)).unwrap();
    let plain = scene.file(&masked, d, "plain", 0o664);
    assert_eq!(scene.attr(plain).mode, 0o600);
}

#[test]
fn capabilities_do_not_outlive_a_write_or_a_new_owner() {
    let mut scene = Scene::new();
    let key = b"security.capability";
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o755);
    let changes = [
        SetAttr { size: Some(3), ..SetAttr::default() },
        SetAttr { uid: Some(bob().uid), ..SetAttr::default() },
    ];
    for change in changes {
        set(&mut scene, &ROOT, file, key, b"x").unwrap();
        scene.run(|ns| ns.setattr(&ROOT, file, &change)).unwrap();
        assert_eq!(refusal(get(&scene, &ROOT, file, key)), ErrorKind::NoAttribute);
    }
    set(&mut scene, &ROOT, file, key, b"x").unwrap();
    scene.chmod(file, 0o700);
    assert!(get(&scene, &ROOT, file, key).is_ok());
}
