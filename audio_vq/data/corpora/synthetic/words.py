"""Words of the synthetic corpus, chosen so that every English phone is frequent. All lists are our own."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


NAMES = _words("""
    Alice Ben Carla David Ethan Fiona George Hannah Ian Joyce Keith Laura Martha Nathan Olive Paul Quentin
    Ruth Susan Thomas Ursula Victor Wendy Yvonne Zoe Hugh Jude Joan Floyd Beth Roy Faith Chuck Shirley
""")

PEOPLE = _words("""
    teacher farmer doctor baker child judge nurse painter sailor writer singer neighbour driver student
    captain engineer lawyer grandmother cousin uncle brother sister mother father gardener fisherman thief
    youth butcher king queen duchess boy girl guest pilot waiter clerk carpenter plumber tailor shepherd
    goalkeeper musician referee librarian firefighter mayor journalist scholar chef janitor cyclist
    treasurer employer
""")

ANIMALS = _words("""
    dog cat horse sheep goose owl fox bear wolf mouse donkey rabbit tiger eagle pigeon turtle whale shark
    frog goat hedgehog badger squirrel giraffe zebra monkey oyster spider beetle moth vulture penguin
    otter camel
""")

THINGS = _words("""
    table chair basket bottle window hammer ladder blanket lantern bucket candle mirror kettle pillow
    engine wagon bicycle trumpet violin guitar piano camera telescope newspaper book letter envelope
    parcel package jacket shirt glove shoe boot scarf coin ring treasure vase jug cup spoon fork knife
    plate bowl cheese bread sausage orange apple cherry peach pudding soup sugar juice watch clock machine
    wheel chain rope cloth thread needle brush broom shovel axe saw board brick stone pebble feather leaf
    branch root thorn flower bush cushion toy coil poison noise voice joint boiler oil garage rug bag box
    cage badge bridge hedge page message picture sketch statue tower house couch cloud crown gown towel
    shower mouth tooth path bath cloak oath wreath measure collage massage mirage television decision
    vision explosion
""")

PLACES = _words("""
    garden kitchen village forest river valley mountain island harbour station market church school
    library museum theatre hospital office factory workshop cottage castle beach desert meadow orchard
    field barn stable bakery airport tunnel canyon lagoon lighthouse courtyard cellar attic hallway
    playground zoo pool cave cliff shore moor town city
""")

ADJECTIVES = _words("""
    big small young old red green blue yellow brown white black purple golden silver heavy light warm cool
    cold hot dry wet clean dirty quiet noisy loud gentle rough smooth sharp dull bright dark narrow wide
    deep shallow rusty dusty broken empty full hollow square round curved straight thick thin tall short
    huge tiny strange usual unusual beige gorgeous cheap expensive royal loyal joyful annoyed moist pure
    curious furious mature rural poor rich famous lazy busy clever foolish wooden woollen good wonderful
    awful childish cheerful youthful weathered leather northern southern eastern western soothing healthy
    wealthy thirsty worthy breezy frozen hazy lush fresh rash plush shiny precious yearly useful humid
    cute
""")

ADVERBS = _words("""
    slowly quickly quietly loudly carefully gently suddenly often rarely usually casually happily sadly
    bravely calmly eagerly proudly smoothly roughly thoroughly barely nearly yearly early truly together
    alone again yesterday today outside upstairs abroad forever anyway thoughtfully joyfully
""")

MASS_NOUNS = _words("""
    water milk coffee tea sugar flour honey rice sand gold wool leather cotton paper butter garlic ginger
    salt pepper music money smoke thunder soil charcoal yoghurt oil
""")

NUMBERS = _words("""
    two three four five six seven eight nine ten eleven twelve thirteen fourteen thirty forty fifty sixty
    ninety
""")

PLURALS = _words("""
    apples bridges boxes horses dishes cherries oranges wishes churches badges branches paths mouths
    houses clothes leaves wolves knives books cups hats rocks boats goats coins toys boys choices voices
    treasures measures chairs bears years hours flowers towers shoes roads songs rings wings things kings
    baths moths months teeth geese children feathers brothers fathers cushions bushes hooks brooks
""")

PAST_TRANSITIVE = _words("""
    carried found bought sold painted washed dropped lifted pushed pulled kicked caught threw chose moved
    fixed broke mended borrowed stole hid watched measured described sketched photographed noticed ignored
    ordered returned destroyed enjoyed joined spoiled polished finished touched reached searched judged
    changed arranged damaged managed charged treasured used refused weighed shook took cooked hooked
    brushed crushed bathed clothed gathered bothered followed swallowed shared repaired prepared cleared
    feared admired required acquired wrapped packed locked unlocked cut hit shut grabbed tugged dug loved
    covered discovered
""")

PAST_INTRANSITIVE = _words("""
    slept laughed cried smiled waited walked ran jumped danced sang shouted whispered coughed sneezed
    yawned stumbled vanished arrived departed stayed listened worked played rested hurried wandered
    voyaged marched breathed paused froze tripped swam rowed paddled climbed argued agreed
""")

INFINITIVES = _words("""
    carry find buy sell paint wash drop lift push pull catch throw choose move fix break mend borrow hide
    watch measure describe sketch notice ignore order return destroy enjoy join polish finish touch reach
    judge change arrange treasure use refuse weigh shake cook brush bathe gather follow share repair
    prepare clear admire wrap pack lock cut shut cover
""")

PREPOSITIONS = _lines("""
    near
    behind
    beside
    above
    below
    beyond
    across from
    under
    outside
    through
    around
    towards
    inside
    between the gate and
    along the edge of
    without leaving
    on the other side of
""")

TIMES = _lines("""
    in the morning
    after lunch
    before breakfast
    at noon
    late at night
    during the storm
    every Thursday
    last July
    this August
    in the autumn
    on a cold March day
    at dawn
    before church
    for an hour
    since Tuesday
    in early January
    once a month
    at half past four
    twice a week
    for the third time
    in their youth
    just after five
    until seven
    by the end of the year
""")

CLAUSES = _lines("""
    because the weather was too rough
    so we had to start again
    although nobody had asked
    and then it began to rain
    but the choice was never ours
    while the others were watching
    if the price is fair
    when the bell rings
    unless you measure it first
    as the sun was going down
    before anyone could answer
    whether they enjoy it or not
    and the whole house shook
    though both of them were unsure
    until the noise went away
    just as the judge had wished
    which gave us great pleasure
    as if by magic
    since there was nothing else to do
    and that was their final decision
    while the boys were joking outside
    but I could hardly breathe
    where the path turns south
    and the leather was still thick with dust
""")

COPULAS = _lines("""
    is
    was
    seems
    looked
    became
""")

QUESTIONS = _lines("""
    Did
    Could
    Should
    Would
    Why did
    How could
    When will
    Where should
""")

PRONOUNS = _lines("""
    he
    she
    they
    we
    I
    you
""")

OPENINGS = _lines("""
    I think that
    We know that
    They said that
    She hoped that
    He was sure that
    Nobody believed that
    You could see that
    It is true that
    Everyone agrees that
    My cousin heard that
    Perhaps
    Of course
    As usual
    In my opinion
    To our great joy
""")
