/**
 * Which passwords of 12 characters and more are common. Not a list taken from somewhere: breached passwords of that
 * length are, nearly all, one of the short favourites below padded with digits, a walk over the keyboard, a run, or
 * themselves again. So the favourites and the ways of padding are written down, and what is made of them alone is refused.
 * It stops the guesses that come first, no more; against the rest stands the guard (guess-guard.ts).
 */

/** Favourites of all breaches, and what administrators of networks reach for. Lower case, letters only. */
const FAVOURITES = `
abc access account admin administrator agent alexander amanda andrew angel animal apple april ashley august autumn backup
bailey banana baseball basketball batman beautiful blink blue british buster butterfly california callcenter cambridge
changeit changeme charlie cheese chelsea chicken chocolate chris christian christmas christopher cisco cloud coffee
company computer confidential cookie correcthorsebatterystaple customer daniel database december default demarc demo
destiny diamond doctor dolphin dragon eagle elephant elizabeth england enter everton facebook family february firewall
flower football forever france freedom friday friends fuck fuckyou gateway george germany ginger god golden google guest
hallo hannah harley hello helpdesk hockey holiday house hunter iloveyou india internet jackson january jasmine jennifer
jessica jesus jordan joseph joshua july june justin killer king kitty lakers letmein liverpool london love lovely lover
loveyou lucky manager manchester march marketing master matrix matthew maverick me melissa mercedes merlin metallica
michael michelle mickey monday monitor monitoring monkey mother mountain music mustang my nagios naruto network newyork
nicole ninja nothing november october office open operator oracle orange oscar partner pass passphrase passport passw
password peanut pepper phoenix picture please pokemon portal postgres princess private provider public purple rainbow
ranger robert root router samantha samsung samuel saturday secret secure security september server service shadow
sophie spiderman spring starwars steelers stephanie summer sunday sunshine super superman supersecret superuser support sweet
switch sysadmin system taylor telecom telephone temp temporary test tester testing thomas thunder thursday tiger tigger
toor trustno tuesday united user vanessa victoria wednesday welcome whatever william windows winter wireless wizard
wonderful word work yankees yellow you your zabbix zxcvbnm
`;

/** Walks: rows, columns and zigzags of the common keyboards, the alphabet, the digits. */
const WALKS = [
  "abcdefghijklmnopqrstuvwxyz",
  "01234567890123456789",
  "qwertyuiop[]asdfghjkl;'zxcvbnm,./",
  "qwertzuiopü+asdfghjklöäyxcvbnm,.-",
  "azertyuiopqsdfghjklmwxcvbn",
  "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
  "qazwsxedcrfvtgbyhnujmikolp",
  "zaq1xsw2cde3vfr4bgt5nhy6mju7",
  "zaq12wsxcde34rfvbgt56yhnmju78ik",
  "1q2w3e4r5t6y7u8i9o0p",
  "q1w2e3r4t5y6u7i8o9p0",
  "a1b2c3d4e5f6g7h8i9j0",
  "1a2b3c4d5e6f7g8h9i0j",
  "!@#$%^&*()_+",
  '!"§$%&/()=?',
].flatMap((walk) => [walk, [...walk].reverse().join("")]);

const LOOKALIKES = new Map(
  ["0o", "1i", "!i", "|i", "li", "3e", "4a", "@a", "5s", "$s", "7t", "8b", "9g"].map((pair) => [pair[0]!, pair[1]!]),
);
const favourites = new Set(FAVOURITES.trim().split(/\s+/).map(plainLetters));

/** No walk is longer. */
const LONGEST_PART = 40;
/** With more parts than this, even favourites in a row are a passphrase that guessing does not begin with. */
const MOST_PARTS = 3;

/**
 * Whether a password is made of at most four different characters, or of at most three common parts: favourite words
 * (also in the usual disguise, `p4$$w0rd`), walks of three or more, repeated characters, a number of up to four digits, one sign.
 * A password that repeats itself is judged by what it repeats.
 */
export function isCommonPassword(password: string): boolean {
  const whole = [...password.normalize("NFC").toLowerCase()];
  if (new Set(whole).size <= 4) return true;
  return fewestParts(repeatedUnit(whole)) <= MOST_PARTS;
}

function repeatedUnit(characters: string[]): string[] {
  for (let size = 1; size <= characters.length / 2; size++) {
    if (characters.length % size === 0 && characters.every((one, i) => one === characters[i % size])) {
      return characters.slice(0, size);
    }
  }
  return characters;
}

/** The fewest common parts that the characters can be cut into; Infinity if something remains. */
function fewestParts(characters: string[]): number {
  const fewest = [0, ...characters.map(() => Infinity)];
  for (let from = 0; from < characters.length; from++) {
    // Only cuts that may still end within the limit are worth a look.
    if (fewest[from]! >= MOST_PARTS) continue;
    for (let to = from + 1; to <= Math.min(characters.length, from + LONGEST_PART); to++) {
      if (isCommonPart(characters.slice(from, to)) || isShortNumber(characters, from, to))
        fewest[to] = Math.min(fewest[to]!, fewest[from]! + 1);
    }
  }
  return fewest[characters.length]!;
}

/** A year or a few digits put beside a word; not a piece cut from a long number, which is as good as it is long. */
function isShortNumber(characters: string[], from: number, to: number): boolean {
  const whole = !isDigit(characters[from - 1]) && !isDigit(characters[to]);
  return whole && to - from <= 4 && characters.slice(from, to).every(isDigit);
}

function isDigit(character: string | undefined): boolean {
  return character !== undefined && character >= "0" && character <= "9";
}

function isCommonPart(part: string[]): boolean {
  const text = part.join("");
  if (part.every((one) => one === part[0])) return part.length > 1 || !/[\p{L}\d]/u.test(text);
  if (part.length >= 3 && WALKS.some((walk) => walk.includes(text))) return true;
  return favourites.has(plainLetters(text));
}

function plainLetters(text: string): string {
  return text.replaceAll(/[^a-hj-km-z]/g, (one) => LOOKALIKES.get(one) ?? one);
}
