// SPDX-License-Identifier: GPL-2.0
//go:build ignore

/*
 * Instances have inodes in a file system of their own, that nobody can mount: then locks,
 * permissions, fstat and opening through /proc are the kernel's ordinary ones.
 *
 * The file system is mounted while there are instances. The mount holds the module, and lets go of
 * it in code of the kernel, when the last file is entirely gone: so the module cannot be unloaded
 * under a file that is being closed.
 */
#include <linux/fs_context.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include "compat.h"
#include "file.h"
#include "inode.h"

#define SHMHEAP_FS_MAGIC 0x53484d48

static struct vfsmount *mount;
static int mount_count;

static int init_fs_context(struct fs_context *fc)
{
	fc->s_iflags |= SB_I_NOEXEC | SB_I_NODEV;
	return init_pseudo(fc, SHMHEAP_FS_MAGIC) ? 0 : -ENOMEM;
}

static struct file_system_type fs_type = {
	.name = "shmheap",
	.owner = THIS_MODULE,
	.init_fs_context = init_fs_context,
	.kill_sb = kill_anon_super,
};

int shmheap_fs_pin(void)
{
	return simple_pin_fs(&fs_type, &mount, &mount_count);
}

void shmheap_fs_unpin(void)
{
	simple_release_fs(&mount, &mount_count);
}

/* setattr() lets owner and mode change, and not the size. */
static int setattr(SHMHEAP_IDMAP *idmap, struct dentry *dentry, struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	int err = setattr_prepare(idmap, dentry, attr);

	if (err)
		return err;
	if ((attr->ia_valid & ATTR_SIZE) && attr->ia_size != i_size_read(inode))
		return -EPERM;
	attr->ia_valid &= ~ATTR_SIZE;
	setattr_copy(idmap, inode, attr);
	return 0;
}

static const struct inode_operations inode_operations = {
	.setattr = setattr,
};

/* shmheap_inode_new() makes an inode of the current user. The file system is pinned. */
struct inode *shmheap_inode_new(u64 bytes, umode_t mode)
{
	struct inode *inode = new_inode(mount->mnt_sb);

	if (!inode)
		return ERR_PTR(-ENOMEM);
	inode->i_ino = get_next_ino();
	inode->i_mode = S_IFREG | mode;
	inode->i_uid = current_fsuid();
	inode->i_gid = current_fsgid();
	inode->i_op = &inode_operations;
	inode->i_fop = &shmheap_file_operations;
	i_size_write(inode, bytes);
	return inode;
}

/* shmheap_inode_file() opens a file of an inode, through shmheap_file_operations.open. */
struct file *shmheap_inode_file(struct inode *inode, const char *name, unsigned int flags)
{
	struct file *file;
	int err;

	if (!try_module_get(THIS_MODULE)) /* given back with the file */
		return ERR_PTR(-ENXIO);
	ihold(inode);
	file = alloc_file_pseudo(inode, mount, name, O_RDWR | O_LARGEFILE | flags,
				 &shmheap_file_operations);
	if (IS_ERR(file)) {
		iput(inode);
		module_put(THIS_MODULE);
		return file;
	}
	file->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;
	err = shmheap_file_operations.open(inode, file);
	if (err) { /* without release, which would undo what open has not done */
		file->private_data = NULL;
		fput(file);
		return ERR_PTR(err);
	}
	return file;
}
