/* The layout that host and guest agreed on (GuestStat in guest.h): 64-bit times only. */
struct kstat {
    dev_t st_dev;
    ino_t st_ino;
    mode_t st_mode;
    nlink_t st_nlink;
    uid_t st_uid;
    gid_t st_gid;
    dev_t st_rdev;
    off_t st_size;
    blksize_t st_blksize;
    int __pad;
    blkcnt_t st_blocks;
    long long st_atime_sec;
    long st_atime_nsec;
    long __pad_atime;
    long long st_mtime_sec;
    long st_mtime_nsec;
    long __pad_mtime;
    long long st_ctime_sec;
    long st_ctime_nsec;
    long __pad_ctime;
};
