# Makes, in the current directory, a tree with all that `rsync -aHAX` can keep. To be run by bash.
set -euo pipefail
umask 022
mkdir -p dir/deeper 'with space' empty
seq 200000 > large
: > nothing
echo text > dir/text

# Names.
for name in $'new\nline' 'ümläut-日本' $'not-utf8-\xff\xfe' -dash 'a "b" '\''c'\'' \d' \
    "$(printf 'n%.0s' {1..255})"; do
    printf x > "$name"
done

# Links, hard and symbolic, and both.
ln dir/text hard
ln dir/text dir/deeper/hard
ln large 'with space/hard large'
ln -s dir/text link
ln -s /nonexistent/away dangling
ln -s "$(printf 'l%.0s' {1..4000})" long-link
ln -s dir dir-link
ln link dir/hard-link-of-link

# A hole, and bytes across the end of a chunk.
truncate -s 90M sparse
printf 'across the end' | dd of=sparse bs=1 seek=$((64 * 1024 * 1024 - 7)) conv=notrunc status=none

# Modes; those that not even the owner can read only where nobody is kept out.
modes=(0444 0600 0755 1644 2755 4755 6711 7777)
((EUID)) || modes+=(0000 0001)
for mode in "${modes[@]}"; do
    echo "$mode" > "mode-$mode"
    chmod "$mode" "mode-$mode"
done
mkdir sticky setgid closed
chmod 1777 sticky
chmod 2775 setgid
echo in > closed/in
chmod 0500 closed

# What is beside the contents.
setfattr -n user.text -v 'some value' dir/text
setfattr -n user.empty dir/text
setfattr -n user.binary -v 0x00ff0a0d dir
setfattr -n user.ümläut -v "0x$(printf '61%.0s' {1..3000})" large
setfacl -m u:1234:rw,g:4321:r,m::rw dir/text
setfacl -m u:daemon:rwx dir
setfacl -d -m u:games:rx,g::rwx dir
setfacl -m u:1:--- mode-4755

# What is not a file, and what only root can make.
mkfifo fifo
chmod 0612 fifo
ln fifo dir/fifo-too
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
if ((EUID == 0)); then
    mknod zero c 1 5
    mknod large-device b 259 1048575
    chmod 0640 zero
    chown 1234:4321 hard mode-0600
    chown -h 4294967294:77 dangling
    chown 3:3 mode-2755
    chmod 2755 mode-2755
    setfattr -n trusted.secret -v hidden nothing
    setfattr -h -n trusted.of-link -v y dangling
    setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 mode-0755
fi

# Times, also those before 1970 and after 2038.
touch -h -d '1965-02-03 04:05:06.123456789' dangling mode-0444
touch -d '2201-01-01 00:00:00.000000001' nothing
touch -d '2001-02-03 04:05:06.5' dir/deeper dir 'with space' empty
