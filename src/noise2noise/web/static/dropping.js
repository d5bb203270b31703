// What is dropped or chosen: files, and folders with all that is in them. A folder that is an image,
// an OME-Zarr, becomes one file, a tar; of other folders the images are taken.

const ROOTS = ["zarr.json", ".zarray", ".zgroup"]; // a folder with one of these is a Zarr
const BLOCK = 512; // bytes of a tar's unit
const MOST_NAMES = [155, 100]; // bytes of the folder's and of the file's name in a tar

/** Everything that a drop brings, as {path, file}. To be called in the event itself, which forgets
 * what it brought afterwards. */
export function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.some(({ isDirectory }) => isDirectory)) return inside(entries, "");
  return Promise.resolve([...transfer.files].map((file) => ({ path: file.name, file })));
}

/** The same of what a field for files or folders holds. */
export function chosen(input) {
  return [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

async function inside(entries, above) {
  const found = [];
  for (const entry of entries) {
    const path = above + entry.name;
    if (entry.isFile) found.push({ path, file: await new Promise((done, failed) => entry.file(done, failed)) });
    else found.push(...(await inside(await children(entry), `${path}/`)));
  }
  return found;
}

/** What is in a folder; a browser tells a hundred at a time. */
async function children(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return found;
    found.push(...some);
  }
}

/** The images among what was dropped, as {name, blob}: files that were named themselves, those of a
 * folder that a format has the suffix of, and OME-Zarrs.
 * @param suffixes with their dots, in lower case. */
export function images(things, suffixes) {
  const roots = rootsOf(things);
  const known = new Set(suffixes);
  const alone = things.filter(({ path }) => !roots.some((root) => path.startsWith(`${root}/`)));
  const files = alone
    .filter(({ path }) => !path.includes("/") || (known.has(suffixOf(path)) && !nameOf(path).startsWith(".")))
    .map(({ path, file }) => ({ name: nameOf(path) || "image.png", blob: file }));
  const zarrs = roots.map((root) => {
    const held = things.filter(({ path }) => path.startsWith(`${root}/`));
    return { name: nameOf(root), blob: tar(held.map(({ path, file }) => ({ path: path.slice(root.length + 1), file }))), packed: ".tar" };
  });
  return [...files, ...zarrs];
}

/** The folders that are a Zarr and lie in no other that is. */
function rootsOf(things) {
  const found = things
    .filter(({ path }) => path.includes("/") && ROOTS.includes(nameOf(path)))
    .map(({ path }) => path.slice(0, path.lastIndexOf("/")));
  const shortest = [...new Set(found)].sort((one, other) => one.length - other.length);
  return shortest.filter((root, index) => !shortest.slice(0, index).some((other) => root.startsWith(`${other}/`)));
}

function nameOf(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

function suffixOf(path) {
  return path.slice(path.lastIndexOf(".")).toLowerCase();
}

/** A tar of files, none of which is read for that. */
export function tar(files) {
  const parts = files.flatMap(({ path, file }) => [header(path, file.size), file, new Uint8Array(-file.size & (BLOCK - 1))]);
  return new Blob([...parts, new Uint8Array(2 * BLOCK)]);
}

function header(path, size) {
  const bytes = new Uint8Array(BLOCK);
  const put = (text, at) => bytes.set(new TextEncoder().encode(text), at);
  const octal = (number, digits) => number.toString(8).padStart(digits, "0");
  const [folder, name] = parted(path);
  put(name, 0);
  put("0000644", 100);
  put(`${octal(size, 11)}`, 124);
  put(`${octal(0, 11)}`, 136);
  put("        ", 148); // the checksum is computed with spaces in its place
  put("0", 156);
  put("ustar\0" + "00", 257);
  put(folder, 345);
  put(`${octal(bytes.reduce((sum, each) => sum + each, 0), 6)}\0 `, 148);
  return bytes;
}

/** A path as a tar has it: what comes before a slash, and what after it. */
function parted(path) {
  const length = (text) => new TextEncoder().encode(text).length;
  if (length(path) <= MOST_NAMES[1]) return ["", path];
  for (let slash = path.indexOf("/"); slash >= 0; slash = path.indexOf("/", slash + 1)) {
    const [folder, name] = [path.slice(0, slash), path.slice(slash + 1)];
    if (length(folder) <= MOST_NAMES[0] && length(name) <= MOST_NAMES[1]) return [folder, name];
  }
  throw new Error(path);
}
